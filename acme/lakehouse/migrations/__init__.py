"""The history of schema `control`: a file per step in versions/, run by acme.lakehouse.migrate."""
