# SPDX-License-Identifier: BSD-2-Clause
# The Makefile's part about locks.c: what each mistake has to be called.
MISTAKES = \
	$(foreach lock,spin ticket,reads_outside/$(lock)/data-race writes_after_try/$(lock)/data-race) \
	$(foreach lock,spin ticket,locks_backwards/$(lock)/lock-order-inversion) \
	$(foreach lock,spin ticket,unlocks_twice/$(lock)/unlock-of-an-unlocked-mutex) \
	$(foreach lock,spin ticket,unlocks_foreign/$(lock)/unlock-of-an-unlocked-mutex)

check-locks: $(OUT)/locks
	$(RUN) $(OUT)/locks
	@for mistake in $(MISTAKES); do \
		set -- $$(echo $$mistake | tr / ' '); \
		if $(RUN) $(OUT)/locks $$1 $$2 >$(OUT)/log 2>&1; then \
			echo "mistake $$mistake was not reported"; exit 1; \
		fi; \
		grep -q "WARNING: ThreadSanitizer: $$(echo $$3 | tr - .)" $(OUT)/log && \
		grep -q "locks.c:" $(OUT)/log || { cat $(OUT)/log; exit 1; }; \
		echo "mistake $$mistake was reported"; \
	done

$(OUT)/locks: locks.c Makefile locks.mk
	@mkdir -p $(OUT)
	$(CC) $(FLAGS) $< -o $@

.PHONY: check-locks
