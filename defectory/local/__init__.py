"""The local cloud: an in-process AWS that deploys and runs the synthesised templates.

Importing any part of it without the extra ``local`` raises ``MissingExtraError``.
"""

from defectory.errors import require_extra

require_extra("local")
