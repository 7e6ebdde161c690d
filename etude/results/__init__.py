"""What is concluded from metrics: leaderboard, differences, verdicts, fad.txt."""
