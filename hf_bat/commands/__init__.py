"""The subcommands of `hf-bat`; `hf_bat.cli` imports one when it is asked for."""
