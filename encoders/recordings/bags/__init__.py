"""Robots' bags: ROS 1 (.bag), ROS 2 (.db3) and MCAP files of messages, of which those with events are read.

`ros1`, `sqlite` and `mcap` give the messages, `messages` says what is in one, `bag` makes a recording of a topic.
No ROS is needed; MCAP wants the extra `ros`.
"""
