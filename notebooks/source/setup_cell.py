# Setup. On Google Colab this fetches the course's own files; anywhere else it does nothing. Safe to run again.
import importlib.util
import os
import subprocess
import sys

if "google.colab" in sys.modules:
    home = os.path.join(os.environ.get("COURSE_HOME", "/content"), "course")
    address = os.environ.get("COURSE_REPOSITORY", "https://github.com/OWNER/REPOSITORY")
    if not os.path.isdir(home):
        subprocess.run(["git", "clone", "-q", "--depth", "1", address, home], check=True)
    if (
        home not in sys.path
    ):  # used from the clone: pip never gets a chance to replace Colab's own torch
        sys.path.insert(0, home)
    missing = [
        name for name in ("mlxtend", "torchdiffeq") if importlib.util.find_spec(name) is None
    ]
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *missing], check=True)
    os.chdir(os.path.join(home, "notebooks"))
