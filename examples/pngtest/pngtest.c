/* pngtest writes a small picture as PNG into memory, reads it back, compares the pixels and says which libraries it used. */
#include <png.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { SIDE = 64 };

int main(void)
{
	static png_byte drawn[SIDE * SIDE * 3], back[sizeof drawn], file[2 * sizeof drawn];
	png_alloc_size_t size = sizeof file;
	png_image image;

	for (int y = 0; y < SIDE; y++)
		for (int x = 0; x < SIDE; x++) {
			png_byte *pixel = drawn + 3 * (y * SIDE + x);
			pixel[0] = 4 * x, pixel[1] = 4 * y, pixel[2] = x ^ y;
		}

	memset(&image, 0, sizeof image);
	image.version = PNG_IMAGE_VERSION;
	image.width = image.height = SIDE;
	image.format = PNG_FORMAT_RGB;
	if (!png_image_write_to_memory(&image, file, &size, 0, drawn, 0, NULL)) {
		fprintf(stderr, "pngtest: write: %s\n", image.message);
		return 1;
	}
	memset(&image, 0, sizeof image);
	image.version = PNG_IMAGE_VERSION;
	if (!png_image_begin_read_from_memory(&image, file, size) ||
	    !png_image_finish_read(&image, NULL, back, 0, NULL)) {
		fprintf(stderr, "pngtest: read: %s\n", image.message);
		return 1;
	}
	if (memcmp(drawn, back, sizeof drawn) != 0) {
		fprintf(stderr, "pngtest: the picture that came back is another one\n");
		return 1;
	}
	printf("pngtest: libpng %s and zlib %s: %d x %d pixels in %lu bytes, all came back\n",
	       png_get_libpng_ver(NULL), zlibVersion(), SIDE, SIDE, (unsigned long)size);
	return 0;
}
