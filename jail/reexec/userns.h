// Makes a user namespace with the map, as in uid_map(5), for uids and gids. Returns a descriptor, or -1 and errno.
int hdjail_userns(const char *map);
