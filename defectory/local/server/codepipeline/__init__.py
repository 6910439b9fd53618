"""CodePipeline: pipelines whose actions hand on artifacts, with CloudFormation, API, and events."""
