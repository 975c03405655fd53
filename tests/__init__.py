"""The claims that twittomatic makes, each shown."""
