"""What stays between one start and the next, durable before it is acknowledged.

``journal``     rows in a SQLite database
``rows``        states of services, taken apart into rows and put together again
``capture``     which rows have changed since they were last written
``durability``  no answer leaves before what it acknowledges is written; restores at the start
``recovery``    what was under way when the server was killed
"""
