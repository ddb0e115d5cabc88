"""The cleaning of texts, as `csi` has always offered it; see `model.text`."""

from volumehealth.model.text import MESSAGE_BYTES, REASON_BYTES, clean_message, clean_reason

__all__ = ["MESSAGE_BYTES", "REASON_BYTES", "clean_message", "clean_reason"]
