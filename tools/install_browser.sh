#!/usr/bin/env bash
# Bring the browser that some tests drive.  Without one they are reported as not run; nothing else needs it, so this
# never fails.
for name in chromium chromium-browser google-chrome chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "No Chromium, and this is not root on Debian or Ubuntu: tests that drive a browser will be reported as not run."
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if (apt-get update && apt-get install -y --no-install-recommends chromium) >"$log" 2>&1; then
  echo "Installed Chromium, for the tests that drive a browser."
else
  echo "Chromium cannot be installed ($(tail -n 1 "$log")): tests that drive a browser will be reported as not run."
fi
rm -f "$log"
exit 0
