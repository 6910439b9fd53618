"""Who may do what in the local cloud, decided as AWS decides it, by MiniStack's evaluator.

====================  ================================================================================================
``sessions.py``       temporary keys of roles, which every process of the cloud and every service runs with
``requirements.py``   the table: which actions on which resources a request needs
``protocols.py``      what a request wants, if it says so once
``evaluation.py``     the corners of policies that MiniStack's evaluator gets wrong, and what nobody here can evaluate
``authority.py``      the decision, AWS's words for a denial, and the record of what was used
``gate.py``           asks for every request that comes over the wire
``deliveries.py``     asks for what services do by themselves: notifications, rules, queues that feed functions
``keys.py``           keeps the KMS keys of topics and buckets, which who uses those needs as well
``machines.py``       asks what a state machine's role needs before it is made
====================  ================================================================================================
"""
