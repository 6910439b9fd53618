"""AWS adapters: the only modules that know boto3 clients, tables and buckets."""
