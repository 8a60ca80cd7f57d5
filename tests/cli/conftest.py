"""The `acme` command as a function."""

import pytest

from acme.cli.main import main
from tests.cli.told import Acme, Told


@pytest.fixture
def acme(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Acme:
    """Return a function that runs the command as the shell does."""

    def run(*arguments: object) -> Told:
        monkeypatch.setattr("sys.argv", ["acme", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Told(code, said.out, said.err)

    return run
