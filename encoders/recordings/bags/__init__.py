"""Bags of robots: ROS 1 (.bag), ROS 2 (.db3) and MCAP files of messages, of which event messages are read.

`ros1`, `sqlite` and `mcap` read messages, `messages` decodes them, `bag` makes a recording of a topic. ROS is not
needed; MCAP needs the extra `ros`.
"""
