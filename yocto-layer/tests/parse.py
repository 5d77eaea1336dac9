#!/usr/bin/env python3
"""Reads the layer with bitbake's own parser on a stand-in for oe-core, then fetches and unpacks the crates as a build does.

    parse.py LAYER STUB-CORE FOLDER     FOLDER is made; CARGO_HOME/registry is looked through for crates

Ends with 1 and a line for each fault. Leaves FOLDER/sources/cargo_home/bitbake, from which cargo can work offline.
"""

import glob
import logging
import os
import sys
import types

# The wheel comes without these two, which nothing here needs.
for name in ("hashserv", "hashserv.client", "prserv", "prserv.serv"):
    sys.modules.setdefault(name, types.ModuleType(name))

import bb  # noqa: E402
import bb.cookerdata  # noqa: E402
import bb.fetch2  # noqa: E402

logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")


def builder(folder, layers):
    """bitbake's view of a build folder with these layers."""
    os.makedirs(folder + "/conf", exist_ok=True)
    os.chdir(folder)
    with open("conf/bblayers.conf", "w", encoding="utf-8") as file:
        file.write(f'BBPATH = "{folder}"\nBBFILES ?= ""\nBBLAYERS = "{" ".join(layers)}"\n')
    open("conf/local.conf", "w", encoding="utf-8").close()
    os.environ["BBPATH"] = folder
    configuration = bb.cookerdata.CookerConfiguration()
    configuration.env, configuration.prefile, configuration.postfile = dict(os.environ), [], []
    configuration.tracking = True
    made = bb.cookerdata.CookerDataBuilder(configuration, True)
    made.parseBaseConfiguration(worker=True)
    return made


def faults_of(recipe):
    """What is wrong with one recipe."""
    for variable in recipe.keys():
        try:
            recipe.getVar(variable)
        except Exception as error:  # whatever an expansion raises
            yield f"{variable} cannot be expanded: {str(error)[:200]}"
    fetch = bb.fetch2.Fetch((recipe.getVar("SRC_URI") or "").split(), recipe, cache=False)
    for url, data in fetch.ud.items():
        if data.type in ("crate", "https") and not data.sha256_expected:
            yield f"{url} has no checksum"
        if data.type == "file" and not os.path.exists(data.method.localpath(data, recipe)):
            yield f"{url} is not there"


def fetch_crates(recipe, folder):
    """Lays the crates out below folder/sources, as do_fetch and do_unpack would."""
    downloads = folder + "/downloads"
    os.makedirs(downloads, exist_ok=True)
    home = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    for crate in glob.glob(home + "/registry/cache/*/*.crate"):
        place = os.path.join(downloads, os.path.basename(crate))
        if not os.path.exists(place):
            os.symlink(crate, place)
    for variable, value in (("DL_DIR", downloads), ("MIRRORS", ""), ("PREMIRRORS", ""),
                            ("UNPACKDIR", folder + "/sources"), ("WORKDIR", folder + "/sources")):
        recipe.setVar(variable, value)
    urls = [url for url in recipe.getVar("SRC_URI").split() if url.startswith("crate://")]
    fetch = bb.fetch2.Fetch(urls, recipe, cache=False)
    fetch.download()
    os.makedirs(folder + "/sources", exist_ok=True)
    fetch.unpack(folder + "/sources")
    return len(urls)


def main():
    """Reads everything, tells every fault."""
    layer, stub, folder = (os.path.abspath(argument) for argument in sys.argv[1:4])
    made = builder(folder, [stub, layer])
    files = [file for pattern in made.data.getVar("BBFILES").split() for file in glob.glob(pattern)]
    recipes = sorted(file for file in files if file.endswith(".bb"))
    faults = []
    for file in recipes:
        # Those to recipes of other layers have nothing here that they could be read with.
        appends = [other for other in files if os.path.basename(other) == os.path.basename(file) + "append"]
        recipe = made.parseRecipe(file, appends, "intercomd")
        faults += [f"{os.path.relpath(file, layer)}: {fault}" for fault in faults_of(recipe)]
        if os.path.basename(file).startswith("intercomd_"):
            print(f"{fetch_crates(recipe, folder)} crates")
    print(f"{len(recipes)} recipes")
    if faults or len(recipes) < 5:
        sys.exit("\n".join(faults or ["hardly any recipe was found"]))


if __name__ == "__main__":
    main()
