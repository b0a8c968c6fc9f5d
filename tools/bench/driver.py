"""What the drivers of the benchmark programs share."""
import json
import os
import subprocess
import sys


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def measure(program, options):
    """The program's JSON object; None after printing why there is none."""
    command = [program] + [str(x) for pair in options.items() for x in pair]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        return None
    return json.loads(done.stdout)


def write(path, method, **report):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"cpu": cpu_name(), "load_average": os.getloadavg(), "method": method, **report},
                  file, indent=1)
        file.write("\n")
