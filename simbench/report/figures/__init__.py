"""One file per figure of the report; a new file is found and drawn without being registered."""
