"""The subcommands of `hf-bat`. `hf_bat.cli` only imports the chosen one."""
