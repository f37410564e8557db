"""The text fields of a form, exactly as they were sent.

Starlette reads bytes that are not UTF-8 as replacement characters or as Latin-1; then another text than the one sent
would be looked into. Here they are refused, as they are in addresses.
"""

from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from inference.errors import BadInput


async def text_fields(request: Request) -> dict[str, str]:
    body = await request.body()
    encoded = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    try:
        (unquote_to_bytes(body) if encoded else body).decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(
            "The form holds bytes that are not UTF-8 text, such as one half of a surrogate pair. Send it as UTF-8."
        ) from None
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
