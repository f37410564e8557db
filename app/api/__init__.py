"""The API as a whole: its document, its page, and what programs get here that no other API has."""
