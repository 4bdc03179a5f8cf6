"""Trees of forests of any size: tiles one by one, joined over their borders, measured and written in little memory."""
