"""What several test files share; children of spawn and scripts import it too."""
