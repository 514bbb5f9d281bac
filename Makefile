# Two commands matter: `make run` and `make test`. The rest is for developers. `make help` lists them.

PYTHON ?= python3
VENV := .venv/bin
EMBEDDED := $(VENV)/python -m carina_portal.embedded
# Fast ones first; those that drive a whole portal and real hosts last.
SUITES := $(wildcard $(addprefix tests/,unit architecture contracts integration chaos e2e live))
TEST_VAR := $(CURDIR)/var/test
pytest = CARINA_VAR=$(1) CARINA_TEST_PATIENCE_SECONDS=$(PATIENCE) CARINA_POSTGRES_OPTIONS="-c fsync=off -c full_page_writes=off" $(EMBEDDED) exec -- $(VENV)/python -m pytest
# How long tests wait for a bay on OpenStack, in seconds: a machine that is shared may be slow, and is not at fault.
PATIENCE ?= 240
# What `manage.py check --deploy` judges is a production's environment, not the local stack's.
DEPLOYED := CARINA_EMBEDDED=0 CARINA_BASE_URL=https://carina.example.com CARINA_ALLOWED_HOSTS=carina.example.com CARINA_MAIL_DIR=

export PORT CARINA_VAR
.DEFAULT_GOAL := help
.PHONY: help run services test test-openstack check lint shell manage clean install install-dev

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: install ## Start everything on this machine and serve on http://127.0.0.1:8000 (another port: make run PORT=8001); Ctrl-C stops it
	@exec $(EMBEDDED) run

services: install ## Start only PostgreSQL, Redis and Incus, for a portal run by hand
	@exec $(EMBEDDED) services

test: install-dev ## Run all checks and tests; only some: make test T=tests/unit
	@CARINA_VAR=$(TEST_VAR) $(EMBEDDED) test-tools
	@$(if $(T),$(call pytest,$(TEST_VAR)) $(T),$(MAKE) --no-print-directory check all-tests)

# One after the other, and the second also after a failure of the first: an OpenStack and a portal with real hosts at once are much for two cores.
.PHONY: all-tests
all-tests:
	@$(call pytest,$(TEST_VAR)) -m "not openstack and not openstack_real" $(SUITES); others=$$?; \
	echo "Now on OpenStack with fake hypervisors; failures there, lives under faults and real instances: make test-openstack."; \
	$(call pytest,$(TEST_VAR)) -m "openstack and not openstack_long" $(SUITES); openstack=$$?; \
	exit $$((others > openstack ? others : openstack))

test-openstack: install-dev ## Run what is tested on a real OpenStack, real instances too; it is installed and started for it (root, Debian 12)
	@CARINA_VAR=$(TEST_VAR) $(EMBEDDED) test-tools
	@$(call pytest,$(TEST_VAR)) -m "openstack or openstack_real" $(or $(T),$(SUITES))

check: install-dev ## Formatting, lint, types, layers, templates, migrations, deployment settings
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	@CARINA_VAR=$(TEST_VAR) $(EMBEDDED) exec -- $(MAKE) --no-print-directory check-django

.PHONY: check-django
check-django:
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/djlint templates --lint --check
	$(VENV)/python manage.py makemigrations --check --dry-run
	$(DEPLOYED) $(VENV)/python manage.py check --deploy --fail-level WARNING

lint: install-dev ## Format, and fix what can be fixed by itself
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .
	$(VENV)/djlint templates --reformat --quiet

shell: install ## A Python shell with the portal's models
	@exec $(EMBEDDED) exec -- $(VENV)/python manage.py shell

manage: install ## Run a management command: make manage ARGS="create_token --email me@example.com --tenant demo"
	@exec $(EMBEDDED) exec -- $(VENV)/python manage.py $(ARGS)

clean: ## Remove what can be made again (never data: that is var/)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find apps carina_portal tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

install:
	@$(PYTHON) carina_portal/embedded/bootstrap.py requirements.txt

install-dev:
	@$(PYTHON) carina_portal/embedded/bootstrap.py requirements.txt requirements-dev.txt
