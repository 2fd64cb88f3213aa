#!/bin/sh
# Lets Vakt look at this machine, and repair the units named in the polkit rule below. Read it, then run it
# as root. To undo it: remove the two users and the three files.
set -eu

for user in vakt-read vakt-repair; do
    # A home that root owns: nothing of the user's own is ever read at sign-in.
    id "$user" >/dev/null 2>&1 ||
        useradd --system --no-create-home --home-dir / --shell /bin/sh --password '*' "$user"
done

mkdir -p /etc/ssh/vakt /etc/ssh/sshd_config.d "$(dirname @POLKIT_PATH@)"
chmod 755 /etc/ssh/vakt
cat >/etc/ssh/vakt/vakt-read <<'END'
@READ_KEY@
END
cat >/etc/ssh/vakt/vakt-repair <<'END'
@REPAIR_KEY@
END
cat >/etc/ssh/sshd_config.d/60-vakt.conf <<'END'
@SSHD@
END
cat >@POLKIT_PATH@ <<'END'
@POLKIT@
END
chmod 644 /etc/ssh/vakt/vakt-read /etc/ssh/vakt/vakt-repair /etc/ssh/sshd_config.d/60-vakt.conf @POLKIT_PATH@

# polkit reads its rules again by itself; sshd has to be told. Its unit is called ssh on Debian.
sshd=$(command -v sshd || echo /usr/sbin/sshd)
"$sshd" -t
systemctl reload ssh.service 2>/dev/null || systemctl reload sshd.service
echo "vakt: this machine's line for the config:"
echo "host_key = \"$(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)\""
