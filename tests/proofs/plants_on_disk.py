"""Plants that cost what was written: syncs, tears, renames, refusals, locks; and secrets."""

from __future__ import annotations

from proofs.plant import Plant

ON_DISK = (
    Plant("an intent is not synced", "journal", "await self._sync(self.fd)", "await anyio.sleep(0)", "power", 800),
    Plant(
        "a sync speaks for what came after it",
        "commit",
        "self._upto = upto = self._write()\n            await self._sync()",
        "await self._sync()\n            self._upto = upto = self._write()",
        "power",
        800,
    ),
    Plant("a new journal's directory is not synced", "journal", "sync_directory(each)", "each.exists()", "power", 800),
    Plant("a torn tail is not cut off", "journal", "if history.size > history.end:", "if False:", "power", 800),
    Plant("a table is renamed before it is synced", "replacement", "        _sync(temporary)\n", "", "power", 800),
    Plant("a torn frame is accepted", "frames", " or crc32(buffer[start:end], length) != checksum", "", "power", 800),
    Plant("the stale frames of another time are accepted", "frames", " and frame[0] >= expected", "", "power", 3000),
    Plant(
        "what polars cannot write is no matter of ours",
        "conclusion",
        "    except (OSError, TableError) as error:\n        ending.stop",
        "    except FileExistsError as error:\n        ending.stop",
        "calls",
        0.12,
    ),
    Plant(
        "a full disk is shrugged off",
        "journal",
        "        if self.broken is None:\n            self.broken = error\n",
        "",
        "disk",
        0.1,
    ),
    Plant(
        "a file that cannot be renamed is no matter",
        "replacement",
        "        temporary.unlink(missing_ok=True)\n        raise\n",
        "        return\n",
        "disk",
        0.3,
    ),
    Plant("the key is not blotted out", "client", '_blotter("" if', '_blotter("" if True or', "secrets", 0.2),
    Plant(
        "the lock is skipped",
        "lock",
        "if not _taken(fd, fcntl.LOCK_EX, lambda: _shared(fd)):",
        "if False:",
        "race",
        2,
    ),
    Plant(
        "the lock is on a name of its own",
        "journal",
        "lock(fd, directory)\n            with",
        "lock(os.open('/dev/shm/' + str(directory.absolute()).replace('/', '_'), os.O_CREAT | os.O_RDWR), directory)\n"
        "            with",
        "race",
        4,
    ),
    Plant(
        "a table that cannot be written is no matter of ours",
        "conclusion",
        "    except (OSError, TableError) as error:\n        ending.stop",
        "    except TableError as error:\n        ending.stop",
        "disk",
        0.2,
    ),
    Plant(
        "an end that is interrupted is taken for a full disk",
        "conclusion",
        "    with suppress(DiskFull):\n        journal.flush()\n    if journal",
        "    if journal",
        "lives",
        900,
        also=(("conclusion", "    journal.history.as_told = False  # should", "    # should"),),
    ),
)
