"""An endpoint of SageMaker that answers inspections."""

from __future__ import annotations

from defectory.errors import InputError
from defectory.inspection.verdicts import InspectionReply, parse_reply
from defectory.line.endpoint import EndpointAnswerError, ModelEndpoint


class InspectionEndpoint(ModelEndpoint):
    """An endpoint that answers an inspection."""

    def inspect(self, content: bytes, content_type: str) -> InspectionReply:
        """Ask for the inspection of an image; arguments and errors are those of `ask`.

        Raises:
            EndpointAnswerError: it does not answer as agreed.
        """
        body = self.ask(content, content_type)
        try:
            return parse_reply(body)
        except InputError as error:
            raise EndpointAnswerError(f"The endpoint {self.name} answered nonsense: {error}") from None
