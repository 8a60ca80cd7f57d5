"""HTTP for third parties: durable order intake, status, proofs. No rule of dealing."""
