#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line

from apps.common.scope import as_system

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carina_portal.settings")
    with as_system(f"command {' '.join(sys.argv[1:2])}"):
        execute_from_command_line(sys.argv)
