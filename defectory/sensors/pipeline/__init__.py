"""Pipeline: the five actions that turn a request into published datasets, and the artifacts they hand on.

```
Write ─Scripts─▶ Run ─Datasets, Failures─▶ Repair ─RepairedScripts─▶ Rerun ─RerunDatasets─▶ Publish
```

==========  =====================================  ==========================================================
action      may reach                              does
==========  =====================================  ==========================================================
Write       requests table, model                  writes the scripts, checks them without running them
Run         nothing but artifacts                  runs them in the sandbox, checks the data
Repair      requests table, model                  has the failed ones rewritten, given what was wrong
Rerun       nothing but artifacts                  as Run, on what was repaired
Publish     requests table, data bucket, alerts    checks again, completes, uploads, closes the request
==========  =====================================  ==========================================================

``python -m defectory.sensors.pipeline <action>`` runs one; ``artifacts`` describes the folders, ``scripting``,
``simulation`` and ``finishing`` hold the steps for one machine, which ``defectory.sensors.generate`` uses as well.
"""
