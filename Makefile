# Two commands do everything on a fresh Debian or Raspberry Pi OS machine: `make demo` and `make test`.
# They install what is missing and say so. `make venv` alone prepares .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# picamera2 comes from Debian and is seen only through the system's packages.
SYSTEM := $(shell $(PYTHON) -c 'import picamera2' 2>/dev/null && echo --system-site-packages)
# Much of the suite waits for a camera in real time: one worker more than there are cores.
WORKERS := $(shell echo $$(($$(nproc) + 1)))
APT := $(if $(filter 0,$(shell id -u)),apt-get,sudo -n apt-get)

.PHONY: help venv demo test test-picamera2 test-systemd check format bench release clean tools test-tools

help:
	@echo "make demo    watch a booking become a published video (software camera, no account)"
	@echo "make test    lint, types, import floors and all tests (EZREC_TEST_MATRIX=full: every pairing, every kill, every mutation)"
	@echo "make check   the first three alone        make format  put the code in form"
	@echo "make test-picamera2   the camera module with real picamera2, in a Debian 13 tree (root, 1 GB)"
	@echo "make test-systemd     the units under a booted systemd: kills, hangs, power cuts, sandboxes (root);"
	@echo "                      DEBIAN=13: under that of Debian 13, in a tree of its own (1.3 GB)"
	@echo "make release VERSION=0.3.0   put changelog/unreleased/ into CHANGELOG.md"
	@echo "make bench   measure, as ratios           make venv    prepare $(VENV) alone"

# $(call need,PROGRAM,PACKAGES): install Debian packages unless a program is there.
define need
@command -v $(1) >/dev/null 2>&1 || { \
	echo "make: $(1) is missing: installing $(2)"; \
	$(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends $(2) >/dev/null; } || { \
	echo "make: could not install $(2). Type: sudo apt-get install $(2)"; exit 1; }
endef

# $(call want,CHECK,PACKAGES): the same for what only some tests need; they are left out without it, and say so.
define want
@{ $(1); } >/dev/null 2>&1 || { \
	echo "make: installing $(2), for the tests of the finished video"; \
	$(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends $(2) >/dev/null; } || \
	echo "make: could not install $(2): the tests that need it are left out"
endef

# It builds the trees of Debian machines; run.sh says what is left out without it.
define debootstrap
@command -v debootstrap >/dev/null 2>&1 || { \
	echo "make: debootstrap is missing: installing debootstrap"; \
	$(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends \
		debootstrap >/dev/null; } || echo "make: could not install debootstrap"
endef

tools:
	$(call need,ffmpeg,ffmpeg fonts-dejavu-core)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: the venv module is missing: installing python3-venv"; \
		$(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq python3-venv >/dev/null; } || { \
		echo "make: could not install python3-venv. Type: sudo apt-get install python3-venv"; exit 1; }

test-tools: tools
	$(call need,strace,strace)
	$(call need,cc,gcc libc6-dev)
	$(call need,setpriv,util-linux)
	$(call need,mkfs.ext4,e2fsprogs)
	$(call need,node,nodejs npm)
	$(call want,which chromium || which chromium-browser || which google-chrome,chromium)
	$(call want,gst-inspect-1.0 openh264dec,gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad)
	@ls -d /usr/lib/postgresql/*/bin >/dev/null 2>&1 || { \
		echo "make: PostgreSQL is missing: installing postgresql"; \
		$(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends postgresql >/dev/null; } || { \
		echo "make: could not install postgresql. Type: sudo apt-get install postgresql"; exit 1; }

NODE := tests/supabase_server/node_modules/.ready

$(NODE): tests/supabase_server/package-lock.json | test-tools
	@echo "make: fetching the test server's node packages"
	@npm ci --silent --no-audit --no-fund --prefix tests/supabase_server
	@touch $@

venv: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml | tools
	@echo "make: preparing $(VENV) (a minute the first time)"
	@$(PYTHON) -m venv $(SYSTEM) $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: venv
	@$(BIN)/ezrec demo $(ARGS)

check: venv
	@$(BIN)/ruff format --check --quiet . || { echo "make: the code is out of form: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

test: test-tools check $(NODE)
	@$(BIN)/pytest -n $(WORKERS) $(ARGS)

# ARGS=--optional: a machine that cannot is no failure; it says so either way. ARGS may also name tests.
# PICAMERA2=new or old: that version alone.
test-picamera2:
	$(debootstrap)
	@PYTHON="$(PYTHON)" PICAMERA2="$(PICAMERA2)" tests/picamera2/run.sh $(ARGS)

# As above. Some seven minutes. DEBIAN=13: under Debian 13's systemd, in a tree of its own. Either way an installation with
# real apt on a fresh Debian 12 and 13.
test-systemd: test-tools venv
	$(debootstrap)
	@DEBIAN="$(DEBIAN)" tests/systemd/run.sh $(ARGS)

format: venv
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: venv
	@$(BIN)/python -m bench $(ARGS)

release:
	@$(PYTHON) changelog/release.py $(VERSION)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
