"""What people really show a camera, emulated: sheets of paper on desks, hands, light from one side, shake and noise.

`scenes` draws the pictures; `__main__` shows them to the shipped models and prints the table.
"""
