"""CodeBuild without Docker: projects' buildspecs run as processes of this machine."""
