# What a configure script does, with names that are the same each time.
cd /tmp
for header in stdio.h stdlib.h nowhere.h; do
	for dir in /usr/include /usr/local/include; do
		if test -r "$dir/$header"; then echo "yes $header"; fi
	done
	echo "#include <$header>" >conftest.c
	sed -e 's/include/import/' conftest.c >conftest.o
	if grep import conftest.o >/dev/null 2>&1; then rm -f conftest.o; fi
	mkdir -p "a/b/$header" && rmdir "a/b/$header"
	mv conftest.c conftest.d && rm -f conftest.d
done
printf '%s\n' '#!/bin/sh' 'exit 3' >script
chmod +x script
./script
test $? = 3 || exit 1
(cd / && ls >/dev/null)
ln -s script link && test -L link && cat link >/dev/null
i=0
while test $i -lt 30; do
	/bin/true
	i=$(expr $i + 1)
done
nowhere-program 2>/dev/null
exit 0
