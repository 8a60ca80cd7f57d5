"""workspace.yaml is that of the folders."""

from pathlib import Path

import yaml

from orchestration import workspace
from orchestration.registry import ROOT


def test_the_workspace_is_that_of_the_folders(tmp_path: Path) -> None:
    assert workspace.wrong() == []
    document = yaml.safe_load((ROOT / "workspace.yaml").read_text("utf-8"))
    names = [entry["python_module"]["location_name"] for entry in document["load_from"]]
    assert names[0] == "business_day"
    assert "member_services" in names
    assert workspace.wrong(tmp_path) == [
        "workspace.yaml: differs; run python -m orchestration.workspace"
    ]
