"""Other tools' files, into ours and out of them."""
