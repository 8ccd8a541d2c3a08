"""What happened, as a state and as words. The only room that knows nagiosplugin."""
