"""AWS adapters: the only modules that know boto3 clients, tables and buckets.

Importing any of them without the extra ``aws`` raises ``MissingExtraError``.
"""

from defectory.errors import require_extra

require_extra("aws")
