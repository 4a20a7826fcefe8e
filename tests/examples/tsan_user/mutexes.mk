# SPDX-License-Identifier: BSD-2-Clause
# The Makefile's part about mutexes.c: what each mistake has to be called.
MUTEX_MISTAKES = \
	$(foreach kind,plain robust,reads_outside/$(kind)/data-race writes_after_try/$(kind)/data-race) \
	$(foreach kind,plain robust,locks_backwards/$(kind)/lock-order-inversion) \
	$(foreach kind,plain robust,unlocks_twice/$(kind)/unlock-of-an-unlocked-mutex) \
	$(foreach kind,plain robust,unlocks_foreign/$(kind)/unlock-of-an-unlocked-mutex) \
	ends_inside/robust/destroy-of-a-locked-mutex

check-mutexes: $(OUT)/mutexes
	$(RUN) $(OUT)/mutexes
	@for mistake in $(MUTEX_MISTAKES); do \
		set -- $$(echo $$mistake | tr / ' '); \
		if $(RUN) $(OUT)/mutexes $$1 $$2 >$(OUT)/log 2>&1; then \
			echo "mistake $$mistake was not reported"; exit 1; \
		fi; \
		grep -q "WARNING: ThreadSanitizer: $$(echo $$3 | tr - .)" $(OUT)/log && \
		grep -q "mutexes.c:" $(OUT)/log || { cat $(OUT)/log; exit 1; }; \
		echo "mistake $$mistake was reported"; \
	done

$(OUT)/mutexes: mutexes.c Makefile mutexes.mk
	@mkdir -p $(OUT)
	$(CC) $(FLAGS) $< -o $@

.PHONY: check-mutexes
