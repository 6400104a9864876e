# Setup. On Google Colab this fetches the course's own files; anywhere else it does nothing.
# Safe to run again.
import importlib.util
import os
import subprocess
import sys

if "google.colab" in sys.modules:
    content = os.environ.get("COURSE_HOME", "/content")
    home = os.path.join(content, "course")
    notebooks = os.path.join(home, "notebooks")
    address = os.environ.get("COURSE_REPOSITORY", "https://github.com/OWNER/REPOSITORY")
    if not os.path.isdir(home):
        subprocess.run(["git", "clone", "-q", "--depth", "1", address, home], check=True)
    for folder in (notebooks, home):  # used from the clone: nothing is installed, nothing restarts
        if folder not in sys.path:
            sys.path.insert(0, folder)
    packages = ("mlxtend", "torchdiffeq")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:  # --no-deps: Colab's own torch and numpy stay as they are
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", *missing]
        subprocess.run(install, check=True)
    os.chdir(notebooks)
