"""What a clip is: its record, the writer of clip folders, progress, random streams."""
