"""The command line: it parses, calls the library and prints. No physics and no defaults of physics live here."""
