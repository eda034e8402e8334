# Every command finds a Python >= 3.12, installs what it needs and says so; see README.md.
RUN := deploy/local/run

.PHONY: help demo prepare manage test test-sqlite test-postgres test-cluster bench lint messages pictures lock
help:
	@echo "make demo            the whole site on this machine, with a demo course (PORT=8000)"
	@echo "make manage          a command of manage.py on the same data (ARGS=...)"
	@echo "make test            every test, on SQLite and then on PostgreSQL and Redis (ARGS=...)"
	@echo "make test-sqlite     every test on SQLite            make test-postgres   on PostgreSQL and Redis"
	@echo "make test-cluster    what needs Kubernetes, on the cluster that KUBECONFIG names"
	@echo "make bench           every benchmark                 make lint            the checks without the tests"
	@echo "make pictures        take the pictures of docs/ again, in the browser"
	@echo "make messages        collect translatable strings    make lock            lock the dependencies again"
demo prepare manage lint bench messages pictures lock:
	@$(RUN) $@ $(ARGS)
test test-sqlite test-postgres test-cluster:
	@$(RUN) $@ $(ARGS)
