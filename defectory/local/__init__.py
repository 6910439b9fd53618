"""The local cloud: an in-process AWS that deploys and runs the synthesised templates."""
