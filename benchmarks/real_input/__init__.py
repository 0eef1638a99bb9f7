"""What people really show a camera, drawn: sheets of paper on desks, light from one side, hands, shake and noise."""
