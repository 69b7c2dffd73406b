#!/bin/sh
# Prints what pipelines are tried on: six thousand readings of sensors, a line of
# JSON each. A hundredth are none: they lack what was measured.
awk 'BEGIN { for (n = 1; n <= 6000; n++)
  if (n % 100 == 0) printf "{\"sensor\": \"s-%d\"}\n", n % 40
  else printf "{\"sensor\": \"s-%d\", \"celsius\": %d.%d}\n", n % 40, 15 + n % 17, n % 10 }'
