"""A text's language, as far as PostgreSQL can stem it."""

import pytest

from tenantry.vectors.language import language_of


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The customer may ask for a refund within ten days of the purchase.", "english"),
        ("Wer krank ist, meldet sich vor neun Uhr bei der Leitung und geht zum Arzt.", "german"),
        ("Le lait est chauffé à une température de 72 degrés dans la cuve.", "french"),
        ("El cliente puede pedir la devolución en los diez días de la compra.", "spanish"),
        ("Клиент может вернуть билет, если он не был использован, и это не всё.", "russian"),
        ("XK-7741 KX-SL-220 12.50", "simple"),
        ("", "simple"),
        ("日本語の文章です", "simple"),
    ],
)
def test_a_language_is_told_by_its_function_words(text: str, language: str) -> None:
    assert language_of(text) == language
