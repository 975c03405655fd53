"""Events: published after their commit, heard once, read again when missed."""
