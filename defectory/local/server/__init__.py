"""The server's process: MiniStack with what it lacks, each lack in a module of its own."""
