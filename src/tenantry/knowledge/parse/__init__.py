"""One file a format: bytes in, text with headings and pages out. Runs in `parse.process` only.

Nothing here is imported by the server: a parser that crashes, hangs or swells does so elsewhere.
"""
